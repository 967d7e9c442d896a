// Serves the steps of sagas from RabbitMQ. This file is docs/wire.md as code.

import { randomUUID } from "node:crypto";
import amqp from "amqplib";

const EXCHANGE = "sagas";
const REPLIES = "saga.replies";
const UNDELIVERED = "saga.undelivered";
const DEAD = "saga.dead";
const QUARANTINE = "saga-quarantine";
const QUEUE_ARGUMENTS = {
  "x-queue-type": "quorum",
  "x-delivery-limit": 19,
  "x-dead-letter-exchange": "",
  "x-dead-letter-routing-key": UNDELIVERED,
  "x-dead-letter-strategy": "at-least-once",
  "x-overflow": "reject-publish",
};

/** A definite no: nothing happened, and the saga may rely on it. */
export class Refused extends Error {}

/** The action's undo came first: the action has no effect, and never will. */
export class Superseded extends Error {}

/**
 * Serve until `stop` of the result is called.
 *
 * A handler is `async (command, signal) => output`. It throws `Refused` for a definite
 * no; anything else that it throws means that nobody knows what happened.
 *
 * A lost connection ends the process: whoever started it starts it again, and the
 * broker delivers again what was not acknowledged.
 */
export async function serve({ url, service, steps, undos, prefetch = 16 }) {
  const connection = await amqp.connect(url);
  const channel = await connection.createConfirmChannel();
  const participant = new Participant(channel);
  connection.on("close", () => participant.onClose());
  connection.on("error", (error) => console.error(`connection: ${error.message}`));
  channel.on("error", (error) => console.error(`channel: ${error.message}`));
  channel.on("close", () => participant.onClose());
  await channel.prefetch(prefetch);
  await channel.assertExchange(EXCHANGE, "topic", { durable: true });
  await participant.consume(`saga.steps.${service}`, "step", steps);
  await participant.consume(`saga.compensate.${service}`, "compensate", undos);
  return {
    async stop() {
      await participant.stop();
      await connection.close();
    },
  };
}

class Participant {
  #channel;
  #consumers = [];
  #returned = new Set(); // ids of messages that no queue took
  #inHand = new Set();
  #running = new Set();
  #turn = Promise.resolve(); // of those that run alone
  #stopping = false;

  constructor(channel) {
    this.#channel = channel;
    channel.on("return", (message) => this.#returned.add(message.properties.messageId));
  }

  async consume(queue, word, handlers) {
    await this.#channel.assertQueue(queue, { durable: true, arguments: QUEUE_ARGUMENTS });
    for (const action of Object.keys(handlers)) {
      await this.#channel.bindQueue(queue, EXCHANGE, `${word}.${action}`);
    }
    const { consumerTag } = await this.#channel.consume(queue, (message) => {
      if (message === null) return this.onClose(); // the queue was deleted
      const work = this.#process(message, queue, handlers);
      this.#inHand.add(work);
      work.finally(() => this.#inHand.delete(work));
    });
    this.#consumers.push(consumerTag);
  }

  async stop() {
    this.#stopping = true;
    for (const tag of this.#consumers) await this.#channel.cancel(tag);
    await Promise.all(this.#inHand);
    await this.#channel.waitForConfirms();
  }

  onClose() {
    if (this.#stopping) return;
    console.error("the connection is gone");
    process.exit(1);
  }

  /** Answer every command of a message, then acknowledge it. */
  async #process(message, queue, handlers) {
    let document;
    try {
      document = read(message.content);
    } catch (error) {
      const headers = { "saga-reason": error.message, "saga-queue": queue };
      await this.#publish(DEAD, message.content, message.properties.type, headers);
      return this.#channel.ack(message);
    }
    const { commands } = document;
    const { headers = {} } = message.properties;
    const cameBack = message.fields.redelivered || QUARANTINE in headers;
    console.log(`${queue}: ${commands.length} commands${cameBack ? ", came back" : ""}`);
    if (cameBack && commands.length > 1) {
      await Promise.all(commands.map((command) => this.#quarantine(document, command, queue)));
    } else {
      const run = () => Promise.all(commands.map((command) => answer(command, handlers)));
      const answers = cameBack ? await this.#alone(run) : await this.#together(run);
      const replies = answers.map((found) => ({ ...found, answered_by: queue }));
      await this.#publish(REPLIES, write({ v: 1, replies }), "saga.replies");
    }
    this.#channel.ack(message);
  }

  #quarantine(document, command, queue) {
    const body = write({ ...document, commands: [command] });
    return this.#publish(queue, body, "saga.commands", { [QUARANTINE]: 1 });
  }

  /** Run while nobody is alone, nor waits to be. */
  async #together(run) {
    await this.#turn;
    const running = run();
    this.#running.add(running);
    return running.finally(() => this.#running.delete(running));
  }

  /** Run while nothing else does: it may be what killed the process before this one. */
  #alone(run) {
    const done = this.#turn.then(async () => {
      await Promise.allSettled(this.#running);
      return run();
    });
    this.#turn = done.catch(() => {});
    return done;
  }

  /** Publish to a queue; return when the broker has it for good. */
  async #publish(queue, body, type, headers = {}) {
    while (!(await this.#try(queue, body, type, headers))) {
      console.error(`${queue}: not confirmed, published again`);
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }

  #try(queue, body, type, headers) {
    const messageId = randomUUID();
    const options = { persistent: true, mandatory: true, contentType: "application/json" };
    return new Promise((resolve) => {
      this.#channel.publish("", queue, body, { ...options, type, headers, messageId }, (error) =>
        // A message that no queue took is returned first, and then confirmed.
        resolve(error === null && !this.#returned.delete(messageId)),
      );
    });
  }
}

/** Run the handler of a command; whatever it does, there is an answer. */
async function answer(command, handlers) {
  const { saga_id, step, direction, generation, token } = command;
  const reply = (fields) => ({ saga_id, step, direction, generation, token, ...fields });
  const handler = handlers[command.action];
  if (handler === undefined) {
    return reply({ answer: "retry_later", delay_ms: 30_000, error: `no ${command.action} here` });
  }
  if (Date.now() >= Date.parse(command.expires_at)) {
    return reply({ answer: "retry_later", delay_ms: 2_000, error: "came after its limit" });
  }
  const signal = AbortSignal.timeout(command.timeout_ms);
  try {
    const complete = { input: command.context, ...command };
    const output = await Promise.race([handler(complete, signal), aborted(signal)]);
    return reply({ answer: "succeeded", output: output ?? null });
  } catch (error) {
    return reply({ ...meaning(error), error: error.message, error_type: error.name });
  }
}

function meaning(error) {
  if (error instanceof Refused) return { answer: "refused", retryable: false };
  if (error instanceof Superseded) return { answer: "superseded" };
  return { answer: "unknown" };
}

function aborted(signal) {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => {
      reject(Object.assign(new Error("ran longer than its timeout"), { name: "Timeout" }));
    });
  });
}

/** Read a message of commands; throw what is wrong with it. */
function read(body) {
  const document = JSON.parse(body.toString());
  const { v, commands } = document;
  if (v !== 1) throw new Error(`v: is ${v}, this program speaks 1`);
  if (!Array.isArray(commands) || commands.length === 0) throw new Error("commands: none");
  for (const command of commands) {
    for (const field of ["saga_id", "step", "direction", "generation", "token", "action"]) {
      if (!(field in command)) throw new Error(`commands: without ${field}`);
    }
  }
  return document;
}

function write(document) {
  return Buffer.from(JSON.stringify(document));
}
