# make run   everything on this machine, with the demo, until Ctrl-C        make test   all tests, lint first
# Needs Python 3 with pip (or uv) and, for `make test`, Node with npm and Debian's packages of Prometheus, Alertmanager and
# Chromium (installed when root, else named). Everything else is brought into .tools and .venv.

UV := .tools/uv/bin/uv
BIN := .venv/bin
SYNCED := .venv/.synced
SDK_NODE := tests/contract/sdk_node
BROWSER := tests/browser

# The machine's own certificates, so that a company's proxy is trusted where the machine trusts it. (Older uv: NATIVE_TLS.)
export UV_SYSTEM_CERTS := true
export UV_NATIVE_TLS := true

.PHONY: run test lint sdk debian faults bench clean

run: $(SYNCED)
	@exec $(BIN)/ebbtide run

test: lint sdk debian
	@sh tests/run.sh $(BIN)/pytest

lint: $(SYNCED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The unmodified SDKs that the contract tests drive, and what the browser tests judge pages with.
sdk: $(SDK_NODE)/node_modules/.package-lock.json $(BROWSER)/node_modules/.package-lock.json

%/node_modules/.package-lock.json: %/package-lock.json
	@command -v npm >/dev/null || { echo "npm is missing: the SDK tests need Node 18 or later (apt install npm)" >&2; exit 1; }
	@# Not `npm ci`: it refuses a lock without the other platforms' optional builds, which not every registry has. Versions
	@# and checksums are the lock's all the same, and --no-save leaves it as it is.
	npm install --no-save --ignore-scripts --no-audit --no-fund --prefix $*
	@touch $@

# The servers and the browser that the tests drive, from the machine's own packages.
debian:
	@sh deploy/local/bring-debian.sh

# Minutes long: kills, freezes and restarts processes under load.
faults: $(SYNCED)
	$(BIN)/pytest -m long tests/faults tests/integration/test_growth.py tests/deploy

bench: $(SYNCED)
	$(BIN)/python -m tests.bench

# The data of the local stack in .ebbtide stay: `rm -r .ebbtide` is for people to say.
clean:
	rm -rf .venv .tools .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .test-output
	rm -rf $(SDK_NODE)/node_modules $(BROWSER)/node_modules

$(SYNCED): pyproject.toml uv.lock .python-version | $(UV)
	@$(UV) sync --frozen || { echo "uv could not prepare .venv (its reason is above). It needs Python 3.12: an installed one," \
		"or the network to fetch it (UV_PYTHON_INSTALL_MIRROR names a mirror, UV_DEFAULT_INDEX one of PyPI)." >&2; exit 1; }
	@touch $@

$(UV):
	@sh deploy/local/bring-uv.sh .tools/uv
