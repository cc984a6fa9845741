import '../../../mark.mjs'

export default {}
