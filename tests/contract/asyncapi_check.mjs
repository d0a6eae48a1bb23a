// Judges AsyncAPI documents, and what they refer to, by the parser of the AsyncAPI project.
//   node asyncapi_check.mjs FILE…       a line of JSON each: errors, and the operations and payloads that it found
import { Parser, fromFile } from '@asyncapi/parser'

for (const file of process.argv.slice(2)) {
  const { document, diagnostics } = await fromFile(new Parser(), file).parse()
  const errors = diagnostics.filter((d) => d.severity <= 1).map((d) => `${d.path.join('.')}: ${d.message}`)
  const operations = document?.operations().all().map((o) => [o.id(), o.action()]) ?? []
  const payloads = document?.messages().all().map((m) => Object.keys(m.payload().json().properties ?? {}).length) ?? []
  console.log(JSON.stringify({ errors, operations, payloads }))
}
