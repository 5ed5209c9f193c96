(() => {
  "use strict";
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone) document.cookie = `ebbtide_zone=${encodeURIComponent(zone)};path=/;max-age=31536000;samesite=lax`;
})();
