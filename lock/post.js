// Releases the lock, whose ID the binary finds in STATE_record, where it has
// saved it itself.
'use strict'

const { hostguard, ofHost } = require('./hostguard.js')

// A job may have written to the state, too: what main.js cannot have saved counts as
// not saved, and never keeps the lock.
const forms = {
  'lock-name': /^[\s,]*([A-Za-z0-9][A-Za-z0-9_.-]{1,127}(?:[\s,]+|$))*$/,
  'lock-backend': /^(|docker|file|swarm|gitea)$/,
}
let saved = {}
try {
  saved = Object(JSON.parse(process.env.STATE_inputs))
} catch {
  // it is no JSON, or there is none
}
const inputs = {}
for (const [name, form] of Object.entries(forms)) {
  const value = saved[name]
  const given = typeof value === 'string' && form.test(value)
  inputs[name] = given ? value : process.env['INPUT_' + name.toUpperCase()] || ofHost(name)
}

// A runner leaves what it does not evaluate empty or unchanged.
const status = process.env.HOSTGUARD_JOB_STATUS || process.env['INPUT_JOB-STATUS'] || ''
inputs['job-status'] = /^[a-z]+$/.test(status) ? status : 'unknown'

hostguard('release-lock', inputs)
