// An OpenID Connect issuer for the tests: the certified package oidc-provider, on a free port of this machine.
//
// Clients are given in CLIENTS as {"id": {claim: value}}; each gets tokens with those claims by client_credentials, with
// the client's id as its secret. One with `people` signs people in instead: whoever comes is PERSON, {"sub": …} with what
// else their ID token says, and is sent back to CALLBACK on any port of 127.0.0.1. The resource urn:mainspring:ALG asks for a token that is signed with ALG, for the
// audience AUDIENCE. A line on standard input changes the keys: "add" signs with new ones and still publishes the old,
// "drop" publishes the newest only. Each is answered with a line, as is the start: {"port": …}.

import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { Provider } from "oidc-provider";

const clients = JSON.parse(process.env.CLIENTS);
const person = JSON.parse(process.env.PERSON);
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
    clients: Object.entries(clients).map(([id, { people }]) => ({
      client_id: id,
      ...(people === "public" ? { token_endpoint_auth_method: "none" } : { client_secret: id }),
      ...(people
        ? { application_type: "native", redirect_uris: [`http://127.0.0.1${process.env.CALLBACK}`] }
        : { grant_types: ["client_credentials"], redirect_uris: [], response_types: [] }),
    })),
    conformIdTokenClaims: false,
    claims: { openid: ["sub"], profile: Object.keys(person).filter((name) => name !== "sub") },
    cookies: { keys: ["for the tests"] },
    findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ ...person, sub: id }) }),
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    // Nobody is asked whether these pages may know who they are.
    loadExistingGrant: async (ctx) => {
      const { client, provider, session } = ctx.oidc;
      const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
      grant.addOIDCScope("openid profile email");
      await grant.save();
      return grant;
    },
    pkce: { required: () => true },
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

let issuer;
const server = createServer(async (request, response) => {
  if (!request.url.startsWith("/interaction/")) return issuer.callback()(request, response);
  // The page on which a person would sign in.
  if (process.env.REFUSES) return issuer.interactionFinished(request, response, { error: "access_denied" });
  return issuer.interactionFinished(request, response, { login: { accountId: person.sub }, consent: {} });
});
server.listen(0, "127.0.0.1", () => {
  const { port } = server.address();
  const url = `http://127.0.0.1:${port}`;
  let keys = newKeys();
  issuer = provider(url, keys);
  console.log(JSON.stringify({ port }));
  createInterface({ input: process.stdin })
    .on("line", (line) => {
      if (line === "add") keys = [...newKeys(), ...keys];
      if (line === "drop") keys = keys.filter((key) => key.kid.endsWith(`-${generation}`));
      issuer = provider(url, keys);
      console.log(JSON.stringify({ kids: keys.map((key) => key.kid) }));
    })
    .on("close", () => process.exit(0));
});
