// The sample, but for a power cut: a voucher is issued, and nobody hears of it.

import { serve } from "./saga.mjs";
import { vouchers } from "./vouchers.mjs";

const { SAGA_BROKER: url, VOUCHERS: folder } = process.env;
const { steps, undos } = vouchers(folder);

async function issue(command) {
  await steps["vouchers.issue"](command);
  process.kill(process.pid, "SIGKILL");
}

await serve({ url, service: "vouchers", steps: { "vouchers.issue": issue }, undos });
console.log("ready");
