import '../mark.mjs'
import { setTimeout } from 'node:timers/promises'

// One small module is over before anybody can look.
const large = { name: 'large', buildEnd: () => setTimeout(300) }

export default { input: 'main.js', output: { file: 'dist/main.js' }, plugins: [large] }
