// Judges an AsyncAPI document, and what it refers to, by the parser of the AsyncAPI project.
//   node asyncapi_check.mjs FILE        one line of JSON: errors, and the operations that it found
import { Parser, fromFile } from '@asyncapi/parser'

const { document, diagnostics } = await fromFile(new Parser(), process.argv[2]).parse()
const errors = diagnostics.filter((d) => d.severity <= 1).map((d) => `${d.path.join('.')}: ${d.message}`)
const operations = document ? document.operations().all().map((o) => [o.id(), o.action()]) : []
const payloads = document ? document.messages().all().map((m) => Object.keys(m.payload().json().properties ?? {}).length) : []
console.log(JSON.stringify({ errors, operations, payloads }))
