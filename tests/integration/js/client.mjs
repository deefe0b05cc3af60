// What the scripts beside this one share: a client made from the environment, and statements.
//
// Set by the test: GRIFFEL_URL (the xAPI endpoint), GRIFFEL_KEY, GRIFFEL_SECRET, XAPI_ADAPTER (axios or fetch),
// XAPI_VERSION.

import assert from "node:assert/strict";
import { createHash, randomUUID } from "node:crypto";
import XAPI from "@xapi/xapi";

const { GRIFFEL_URL, GRIFFEL_KEY, GRIFFEL_SECRET, XAPI_ADAPTER, XAPI_VERSION } = process.env;

export const adapter = XAPI_ADAPTER;

export const client = new XAPI({
  endpoint: GRIFFEL_URL,
  auth: XAPI.toBasicAuth(GRIFFEL_KEY, GRIFFEL_SECRET),
  version: XAPI_VERSION,
  adapter: XAPI_ADAPTER,
});

export const Verbs = XAPI.Verbs;
export const AttachmentUsages = XAPI.AttachmentUsages;

export const learner = () => ({
  objectType: "Agent",
  name: "Ann",
  account: { homePage: "https://school.example", name: randomUUID() },
});

export const activity = () => ({
  objectType: "Activity",
  id: `https://school.example/modules/${randomUUID()}`,
  definition: { name: { en: "Long division" }, type: "http://adlnet.gov/expapi/activities/module" },
});

export const statement = (parts = {}) => ({
  actor: learner(),
  verb: Verbs.COMPLETED,
  object: activity(),
  ...parts,
});

export const essay = (text) => ({
  usageType: AttachmentUsages.SUPPORTING_MEDIA,
  display: { en: "An essay" },
  contentType: "text/plain",
  length: Buffer.byteLength(text),
  sha2: createHash("sha256").update(text).digest("hex"),
});

export const bytesOf = (text) => new TextEncoder().encode(text).buffer;

// The two adapters fail in their own ways: axios tells the status, fetch only the body, which is problem+json here.
export async function refused(request, status) {
  try {
    await request;
  } catch (error) {
    const told = error.response?.status ?? JSON.parse(error.message).status;
    assert.equal(told, status);
    return;
  }
  assert.fail(`this should have been refused with ${status}`);
}

// Whether one object has all that another has: stores add to what they were given.
export function holds(found, sent) {
  for (const [name, value] of Object.entries(sent)) {
    assert.deepEqual(found[name], value, name);
  }
}

export { assert, randomUUID };
