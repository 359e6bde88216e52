/** The numbers of the requests that the connection itself must know. */
export const produceApiKey = 0;
export const saslHandshakeKey = 17;
export const apiVersionsApiKey = 18;
export const saslAuthenticateKey = 36;
