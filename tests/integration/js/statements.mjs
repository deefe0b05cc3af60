// One statement and many: saved, found by each filter, paged through.

import { activity, assert, client, holds, learner, randomUUID, refused, statement, Verbs } from "./client.mjs";

const about = (await client.getAbout()).data;
assert.ok(about.version.includes("1.0.3") && about.version.includes("2.0.0"));

// one, with everything a statement may have
const rich = statement({
  id: randomUUID(),
  timestamp: "2024-05-06T07:08:09.123Z",
  result: {
    score: { scaled: 0.5, raw: 5, min: 0, max: 10 },
    success: true,
    completion: true,
    duration: "PT90M",
    response: "long — naïve",
    extensions: { "https://school.example/tempo": "slow" },
  },
  context: {
    registration: randomUUID(),
    instructor: learner(),
    language: "en-GB",
    platform: "Paper",
    contextActivities: { parent: [activity()] },
  },
});
assert.deepEqual((await client.sendStatement({ statement: rich })).data, [rich.id]);
const found = (await client.getStatement({ statementId: rich.id })).data;
holds(found, rich);
assert.ok(found.stored);
assert.ok(found.authority);

// the same again is accepted, another with its id is not
await client.sendStatement({ statement: rich });
await refused(client.sendStatement({ statement: { ...rich, verb: Verbs.FAILED } }), 409);

// each filter
const { data: byId } = await client.getStatement({ statementId: rich.id, format: "ids" });
assert.equal(byId.object.definition, undefined);
for (const filter of [
  { registration: rich.context.registration },
  { agent: rich.actor },
  { agent: rich.context.instructor, related_agents: true },
  { activity: rich.object.id, verb: rich.verb.id },
  { activity: rich.context.contextActivities.parent[0].id, related_activities: true },
  { agent: rich.actor, until: found.stored },
  { agent: rich.actor, since: "2020-01-01T00:00:00Z", format: "canonical" },
]) {
  const { data } = await client.getStatements(filter);
  assert.deepEqual(data.statements.map(({ id }) => id), [rich.id], JSON.stringify(filter));
}
assert.deepEqual((await client.getStatements({ agent: rich.actor, since: found.stored })).data.statements, []);

// many, and their pages
const actor = learner();
const many = Array.from({ length: 7 }, () => statement({ actor, verb: Verbs.PROGRESSED }));
const { data: ids } = await client.sendStatements({ statements: many });
assert.equal(new Set(ids).size, 7);
await refused(client.sendStatements({ statements: [statement({ actor }), statement({ actor, id: ids[0] })] }), 409);
for (const ascending of [true, false]) {
  let { data: page } = await client.getStatements({ agent: actor, limit: 3, ascending });
  const pages = [page.statements];
  while (page.more) {
    ({ data: page } = await client.getMoreStatements({ more: page.more }));
    pages.push(page.statements);
  }
  assert.deepEqual(pages.map((one) => one.length), [3, 3, 1]);
  assert.deepEqual(pages.flat().map(({ id }) => id), ascending ? ids : [...ids].reverse());
}

// activities and agents
assert.deepEqual((await client.getActivity({ activityId: rich.object.id })).data, rich.object);
const person = (await client.getAgent({ agent: rich.actor })).data;
assert.equal(person.objectType, "Person");
assert.deepEqual(person.account, [rich.actor.account]);
assert.deepEqual(person.name, ["Ann"]);

console.log("done");
