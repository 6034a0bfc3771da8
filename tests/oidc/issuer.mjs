// An OpenID Connect issuer for the tests: the certified package oidc-provider, on a free port of this machine.
//
// Clients are given in CLIENTS as {"id": {claim: value}}; each gets tokens with those claims by client_credentials, with
// the client's id as its secret. The resource urn:mainspring:ALG asks for a token that is signed with ALG, for the
// audience AUDIENCE. A line on standard input changes the keys: "add" signs with new ones and still publishes the old,
// "drop" publishes the newest only. Each is answered with a line, as is the start: {"port": …}.

import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { Provider } from "oidc-provider";

const clients = JSON.parse(process.env.CLIENTS);
const kinds = {
  RS256: ["rsa", { modulusLength: 2048 }],
  PS256: ["rsa", { modulusLength: 2048 }],
  ES256: ["ec", { namedCurve: "P-256" }],
  EdDSA: ["ed25519", {}],
};
let generation = 0;

function newKeys() {
  generation += 1;
  return Object.entries(kinds).map(([alg, [type, options]]) => {
    const key = generateKeyPairSync(type, options).privateKey.export({ format: "jwk" });
    return { ...key, alg, use: "sig", kid: `${alg}-${generation}` };
  });
}

function resourceServer(_ctx, resource, client) {
  const alg = resource.split(":")[2];
  const sign = { alg, kid: `${alg}-${generation}` };
  const audience = clients[client.clientId].aud ?? process.env.AUDIENCE;
  return { scope: "", audience, accessTokenFormat: "jwt", jwt: { sign } };
}

function provider(issuer, keys) {
  return new Provider(issuer, {
    clients: Object.keys(clients).map((id) => ({
      client_id: id,
      client_secret: id,
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
    })),
    jwks: { keys },
    ttl: { ClientCredentials: 300 },
    enabledJWA: { idTokenSigningAlgValues: Object.keys(kinds) },
    extraTokenClaims: (_ctx, token) => clients[token.clientId],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: { enabled: true, getResourceServerInfo: resourceServer },
    },
  });
}

let answer;
const server = createServer((request, response) => answer(request, response));
server.listen(0, "127.0.0.1", () => {
  const { port } = server.address();
  const issuer = `http://127.0.0.1:${port}`;
  let keys = newKeys();
  answer = provider(issuer, keys).callback();
  console.log(JSON.stringify({ port }));
  createInterface({ input: process.stdin })
    .on("line", (line) => {
      if (line === "add") keys = [...newKeys(), ...keys];
      if (line === "drop") keys = keys.filter((key) => key.kid.endsWith(`-${generation}`));
      answer = provider(issuer, keys).callback();
      console.log(JSON.stringify({ kids: keys.map((key) => key.kid) }));
    })
    .on("close", () => process.exit(0));
});
