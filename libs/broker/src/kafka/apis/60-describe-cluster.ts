import { api } from '../api.js';
import { clusterOperations, operationsNotAsked } from '../authorized-operations.js';
import { errorCodes } from '../error-codes.js';
import { bool, int16, int32, int8, list, string } from '../schema.js';

const table = {
  key: 60,
  name: 'DescribeCluster',
  versions: [0, 2],
  flexibleFrom: 0,
  request: { includeClusterAuthorizedOperations: bool(), endpointType: int8().since(1).or(1), includeFencedBrokers: bool().since(2) },
  response: {
    throttleTimeMs: int32().or(0),
    errorCode: int16(),
    errorMessage: string().nullable().or(null),
    endpointType: int8().since(1).or(1),
    clusterId: string(),
    controllerId: int32().or(-1),
    brokers: list({ brokerId: int32(), host: string(), port: int32(), rack: string().nullable().or(null), isFenced: bool().since(2) }),
    clusterAuthorizedOperations: int32().or(-2147483648),
  },
} as const;

const brokerEndpoints = 1;

/** 60 DescribeCluster: there is one broker, and it is its own controller; the controller has no listener of its own to be asked for. */
export const describeCluster = api(table, ({ includeClusterAuthorizedOperations, endpointType }, { node, connection, rights }) => {
  const { nodeId } = node.settings;
  if (endpointType !== brokerEndpoints) {
    const errorMessage =
      endpointType === 2 ? 'Controllers are not listening apart from brokers here' : `Unsupported endpoint type ${endpointType}`;
    const errorCode = endpointType === 2 ? errorCodes.mismatchedEndpointType : errorCodes.unsupportedEndpointType;
    return { errorCode, errorMessage, clusterId: '', brokers: [] };
  }
  const clusterAuthorizedOperations = includeClusterAuthorizedOperations ? clusterOperations(rights) : operationsNotAsked;
  const brokers = [{ brokerId: nodeId, host: connection.host, port: connection.port, isFenced: false }];
  return { errorCode: 0, endpointType, clusterId: node.log.clusterId, controllerId: nodeId, brokers, clusterAuthorizedOperations };
});
