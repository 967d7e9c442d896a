// A service of its own: it issues gift vouchers, and voids them. A voucher is a file.

import { randomUUID } from "node:crypto";
import fs from "node:fs/promises";
import path from "node:path";
import { Refused, Superseded } from "./saga.mjs";

const CENTS_MAX = 10_000;

/** The handlers of a shop whose vouchers are kept in a folder. */
export function vouchers(folder) {
  // One file for one action of one step, whatever comes twice, late, or first: this
  // is the barrier of docs/barrier.md, with a folder for a database.
  const file = (command) => path.join(folder, encodeURIComponent(command.action_key));

  async function issue(command) {
    const { cents } = command.input;
    if (cents > CENTS_MAX) throw new Refused(`no vouchers of more than ${CENTS_MAX} cents`);
    const voucher = { code: randomUUID(), cents, void: false };
    if (!(await create(file(command), voucher))) {
      const found = JSON.parse(await fs.readFile(file(command)));
      if (found.code === null) throw new Superseded("voided before it was issued");
      return { code: found.code };
    }
    return { code: voucher.code };
  }

  async function voidIt(command) {
    const never = { code: null, void: true };
    if (await create(file(command), never)) return; // nobody will issue it any more
    const found = JSON.parse(await fs.readFile(file(command)));
    await replace(file(command), { ...found, void: true });
  }

  return { steps: { "vouchers.issue": issue }, undos: { "vouchers.void": voidIt } };
}

/** Make a file with all that is in it, or tell that it is there. */
async function create(name, document) {
  const draft = await drafted(name, document);
  try {
    await fs.link(draft, name);
    return true;
  } catch (error) {
    if (error.code !== "EEXIST") throw error;
    return false;
  } finally {
    await fs.unlink(draft);
  }
}

async function replace(name, document) {
  await fs.rename(await drafted(name, document), name);
}

async function drafted(name, document) {
  const draft = `${name}.${randomUUID()}`;
  await fs.writeFile(draft, JSON.stringify(document), { flush: true });
  return draft;
}
