// Gives the lock back. What to give back the binary knows from STATE_record,
// which it has saved itself.
'use strict'

const { hostguard } = require('./hostguard.js')

// What a runner does not fill in, it leaves empty or as it was written.
const status = process.env.HOSTGUARD_JOB_STATUS || process.env['INPUT_JOB-STATUS'] || ''

hostguard('release-lock', {
  ...JSON.parse(process.env.STATE_inputs || '{}'),
  'job-status': /^[a-z]+$/.test(status) ? status : 'unknown',
})
