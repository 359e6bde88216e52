import { api } from '../api.js';
import { errorCodes, type ErrorName } from '../error-codes.js';
import type { KafkaNode } from '../kafka-node.js';
import { refusal } from '../refusals.js';
import type { Rights } from '../rights.js';
import { array, int16, int32, list, string, uuid, type Write, zeroId } from '../schema.js';

const table = {
  key: 20,
  name: 'DeleteTopics',
  versions: [1, 6],
  flexibleFrom: 4,
  request: {
    topics: list({ name: string().nullable().or(null), topicId: uuid() }).since(6),
    topicNames: array(string()).until(5),
    timeoutMs: int32(),
  },
  response: {
    throttleTimeMs: int32().or(0),
    responses: list({
      name: string().nullable(6),
      topicId: uuid().since(6),
      errorCode: int16(),
      errorMessage: string().since(5).nullable().or(null),
    }),
  },
} as const;

/** 20 DeleteTopics: gone for good, with its records and the offsets that groups committed in it, when it is answered. */
export const deleteTopics = api(table, async (request, { node, rights, version }) => {
  const named = version >= 6 ? request.topics : request.topicNames.map((name) => ({ name, topicId: zeroId }));
  const responses = await Promise.all(
    [...eachOnce(named)].map(({ name, topicId, isTwice }) => remove(name, topicId, isTwice, node, rights)),
  );
  return { responses };
});

interface Named {
  readonly name: string | null;
  readonly topicId: string;
}

/** What is named twice is answered once, and refused: which of the two was meant to find it? */
function eachOnce(named: readonly Named[]): Iterable<Named & { readonly isTwice: boolean }> {
  const once = new Map<string, Named & { readonly isTwice: boolean }>();
  for (const one of named) {
    const key = one.name ?? `id ${one.topicId}`;
    once.set(key, { ...one, isTwice: once.has(key) });
  }
  return once.values();
}

async function remove(
  name: string | null,
  topicId: string,
  isTwice: boolean,
  { log, groups }: KafkaNode,
  rights: Rights,
): Promise<Write<typeof table.response>['responses'][number]> {
  const refused = (error: ErrorName, errorMessage: string): Write<typeof table.response>['responses'][number] => ({
    name,
    topicId,
    errorCode: errorCodes[error],
    errorMessage,
  });
  if (isTwice) return refused('invalidRequest', 'Duplicate topic name or id: name each topic once.');
  if (name !== null && topicId !== zeroId) return refused('invalidRequest', 'You may not specify both topic name and topic id.');
  if (name === null && topicId === zeroId) return refused('invalidRequest', 'Neither topic name nor id were specified.');
  const topic = name === null ? log.topicById(topicId) : log.topic(name);
  const known = topic?.name ?? name;
  if (known !== null && !rights.may('configure', known)) {
    const isHidden = name === null && !rights.maySee(known);
    return { name, topicId, errorCode: errorCodes[isHidden ? 'unknownTopicId' : 'topicAuthorizationFailed'] };
  }
  if (topic === undefined) {
    return name === null
      ? refused('unknownTopicId', 'This server does not host this topic ID.')
      : refused('unknownTopicOrPartition', 'This server does not host this topic-partition.');
  }
  const about = { name: topic.name, topicId: topic.id };
  if (topic.isInternal) {
    return { ...about, errorCode: errorCodes.invalidRequest, errorMessage: `The topic ${topic.name} belongs to the broker: it stays` };
  }
  try {
    await groups.deleteTopic(topic.name);
    return { ...about, errorCode: 0 };
  } catch (error) {
    return { ...about, ...refusal(error) };
  }
}
