// A page's surroundings, with node's own fetch: jsdom has none, and the server is a real one on another origin.
export default {
  test: { environment: "jsdom", testTimeout: 60_000, include: ["*.test.jsx"] },
};
