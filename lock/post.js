// Releases the lock, whose ID the binary finds in STATE_record, where it has
// saved it itself.
'use strict'

const { hostguard } = require('./hostguard.js')

// A runner leaves what it does not evaluate empty or unchanged.
const status = process.env.HOSTGUARD_JOB_STATUS || process.env['INPUT_JOB-STATUS'] || ''

hostguard('release-lock', {
  ...JSON.parse(process.env.STATE_inputs || '{}'),
  'job-status': /^[a-z]+$/.test(status) ? status : 'unknown',
})
