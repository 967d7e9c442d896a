// node check.mjs FILE: print what is wrong with an AsyncAPI document, a line each.

import fs from "node:fs";
import { Parser } from "@asyncapi/parser";

const { document, diagnostics } = await new Parser().parse(fs.readFileSync(process.argv[2], "utf8"));
for (const { code, message, path } of diagnostics) {
  // 3.0 is what the AMQP binding and most tools know; the parser would have 3.1.
  if (code !== "asyncapi-latest-version") console.log(code, path.join("."), message);
}
if (document !== undefined) console.log(`operations: ${document.operations().all().length}`);
