// State and profile documents, changed under their ETags.

import { activity, adapter, assert, client, learner, randomUUID, refused } from "./client.mjs";

const agent = learner();
const activityId = activity().id;
const registration = randomUUID();
const content = { page: 3, title: "naïve" };

const changed = { ...content, page: 4, seen: true };

const state = { agent, activityId, stateId: "bookmark", registration };
const agentProfile = { agent, profileId: "preferences" };
const activityProfile = { activityId, profileId: "scores" };

await lives({
  get: () => client.getState(state),
  list: () => client.getStates({ agent, activityId, registration }),
  set: (document, more = {}) => client.setState({ ...state, state: document, ...more }),
  create: (document, more = {}) => client.createState({ ...state, state: document, ...more }),
  remove: (more = {}) => client.deleteState({ ...state, ...more }),
  id: state.stateId,
});
await lives({
  get: () => client.getAgentProfile(agentProfile),
  list: () => client.getAgentProfiles({ agent }),
  set: (document, more = {}) => client.setAgentProfile({ ...agentProfile, profile: document, ...more }),
  create: (document, more = {}) => client.createAgentProfile({ ...agentProfile, profile: document, ...more }),
  remove: (more = {}) => client.deleteAgentProfile({ ...agentProfile, ...more }),
  id: agentProfile.profileId,
});
await lives({
  get: () => client.getActivityProfile(activityProfile),
  list: () => client.getActivityProfiles({ activityId }),
  set: (document, more = {}) => client.setActivityProfile({ ...activityProfile, profile: document, ...more }),
  create: (document, more = {}) => client.createActivityProfile({ ...activityProfile, profile: document, ...more }),
  remove: (more = {}) => client.deleteActivityProfile({ ...activityProfile, ...more }),
  id: activityProfile.profileId,
});

async function lives({ get, list, set, create, remove, id }) {
  assert.deepEqual((await list()).data, []);
  await refused(get(), 404);
  await set(content, { etag: "*", matchHeader: "If-None-Match" });
  await refused(set(changed, { etag: "*", matchHeader: "If-None-Match" }), 412);
  const first = await get();
  assert.deepEqual(first.data, content);
  assert.match(first.headers.etag, /^"[0-9a-f]{40}"$/);
  assert.deepEqual((await list()).data, [id]);

  await create({ seen: true });
  assert.deepEqual((await get()).data, { ...content, seen: true });
  await refused(set(changed, { etag: first.headers.etag, matchHeader: "If-Match" }), 412);
  const second = await get();
  assert.notEqual(second.headers.etag, first.headers.etag);
  await set(changed, { etag: second.headers.etag, matchHeader: "If-Match" });
  assert.deepEqual((await get()).data, changed);

  await refused(remove({ etag: second.headers.etag }), 412);
  await remove({ etag: (await get()).headers.etag });
  await refused(get(), 404);
  assert.deepEqual((await list()).data, []);

  // another type than JSON
  await set("Just some text.", { etag: "*", matchHeader: "If-None-Match", contentType: "text/plain" });
  const text = await get();
  assert.equal(text.data, "Just some text.");
  assert.ok(text.headers["content-type"].startsWith("text/plain"));
  await refused(create({ a: 1 }), 400);
  await remove();
}

// state alone: without ETags, of any registration, all at once
for (const stateId of ["a", "b", "c"]) {
  await client.setState({ agent, activityId, stateId, state: { stateId } });
}
await client.setState({ agent, activityId, stateId: "a", state: { again: true } });
assert.deepEqual((await client.getState({ agent, activityId, stateId: "a" })).data, { again: true });
assert.deepEqual((await client.getStates({ agent, activityId })).data.sort(), ["a", "b", "c"]);
await client.deleteStates({ agent, activityId });
assert.deepEqual((await client.getStates({ agent, activityId })).data, []);

console.log(`done with ${adapter}`);
