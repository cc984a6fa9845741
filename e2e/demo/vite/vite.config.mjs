// The heavy build of a third repository: many pages. It reports that it has begun,
// and stays at work until a line comes in, so that the demo shows the same on
// a fast machine as on a slow one.
import { once } from 'node:events'

const pages = 1500

export default {
  logLevel: 'warn',
  build: { chunkSizeWarningLimit: 10_000 },
  plugins: [
    {
      name: 'pages',
      async buildStart() {
        process.stdin.resume()
        console.log('building')
        await Promise.race([once(process.stdin, 'data'), once(process.stdin, 'end')])
        process.stdin.destroy()
      },
      resolveId: (id) => (id.startsWith('page-') ? id : null),
      load(id) {
        if (id.startsWith('page-')) {
          return `export const html = ${JSON.stringify(id.repeat(50))}; export default () => document.body.append(html)`
        }
      },
      transform(code, id) {
        if (id.endsWith('main.js')) {
          return Array.from({ length: pages }, (_, i) => `import p${i} from 'page-${i}'; p${i}()`).join('\n')
        }
      },
    },
  ],
}
