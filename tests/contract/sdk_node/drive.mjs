// One journey of a customer's server through an unmodified Node SDK: `drive.mjs FLAVOUR URL WRITE_KEY ACCOUNT`.
// Prints the SDK's version; exits with 1 if the SDK reported an error.
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const [flavour, url, key, account] = process.argv.slice(2)
const user = 'user-of-' + account
const then = new Date(Date.now() - 3600_000)
const errors = []

const traits = { name: 'Acme ' + account, seats: 12, plan: 'pro', mrr: 1200.5, unknown: { a: 1 } }
const calls = [
  ['identify', { userId: user, traits: { email: 'a@example.com', name: 'Ada', roles: ['champion'] } }],
  ['group', { userId: user, groupId: account, traits }],
  ['track', { userId: user, event: 'Report Exported', properties: { rows: 3 }, timestamp: then }],
  ['track', { userId: user, event: 'Logged In' }],
  ['page', { userId: user, category: 'Docs', name: 'Getting started', properties: { url: 'https://example.com/start' } }],
  ['track', { userId: 'stranger-of-' + account, event: 'Report Exported', context: { groupId: account } }],
  ['track', { userId: 'nobody-of-' + account, event: 'Report Exported' }],
]

if (flavour === 'segment') {
  const { Analytics } = require('@segment/analytics-node')
  const client = new Analytics({ writeKey: key, host: url, maxEventsInBatch: 15, flushInterval: 200, maxRetries: 5 })
  client.on('error', (error) => errors.push(error))
  for (const [call, message] of calls) client[call](message)
  await client.closeAndFlush({ timeout: 20000 })
  console.log(require('@segment/analytics-node/package.json').version)
} else {
  const RudderAnalytics = require('@rudderstack/rudder-sdk-node')
  const client = new RudderAnalytics(key, { dataPlaneUrl: url, flushInterval: 200, logLevel: 'error' })
  let answered = 0
  for (const [call, message] of calls) {
    client[call](message, (error) => {
      answered += 1
      if (error) errors.push(error)
    })
  }
  const until = Date.now() + 20000
  while (answered < calls.length && Date.now() < until) {
    await client.flush().catch((error) => errors.push(error))
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  if (answered < calls.length) errors.push(new Error(`${answered} of ${calls.length} calls answered`))
  console.log(require('@rudderstack/rudder-sdk-node/package.json').version)
}
for (const error of errors) console.error(error)
process.exit(errors.length ? 1 : 0)
