// node main.mjs: serve vouchers until SIGTERM or SIGINT.

import fs from "node:fs/promises";
import { serve } from "./saga.mjs";
import { vouchers } from "./vouchers.mjs";

const url = process.env.SAGA_BROKER ?? "amqp://guest:guest@127.0.0.1/";
const folder = process.env.VOUCHERS ?? "vouchers";

await fs.mkdir(folder, { recursive: true });
const server = await serve({ url, service: "vouchers", ...vouchers(folder) });
console.log("ready");
for (const name of ["SIGTERM", "SIGINT"]) process.once(name, () => server.stop());
