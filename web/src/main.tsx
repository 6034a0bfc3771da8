import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { ApiError, whenSignedOut } from "./api/client";
import { sessionQuery, signIn, takeLink } from "./api/session";
import { createAppRouter } from "./router";
import { strings } from "./strings";
import "./styles.css";
import { applyTheme } from "./theme";

const MAX_ATTEMPTS = 3;
const LONGEST_PAUSE_MS = 5_000;

// Before anything else looks at the address.
const link = takeLink();
applyTheme();
document.documentElement.lang = strings.locale;
document.documentElement.dir = strings.dir;

/** A server that cannot be reached is tried until it can; one that fails, a few times; one that refuses means it. */
function retry(failures: number, error: Error): boolean {
  if (!(error instanceof ApiError)) return true;
  return error.isTransient && failures < MAX_ATTEMPTS;
}

const queryClient = new QueryClient({
  defaultOptions: {
    // "always": a server on this machine can be reached without a network.
    queries: {
      networkMode: "always",
      retry,
      retryDelay: (failures) => Math.min(500 * 2 ** failures, LONGEST_PAUSE_MS),
    },
    mutations: { networkMode: "always" },
  },
});

let linkFailed = false;
if (link !== null) {
  try {
    queryClient.setQueryData(sessionQuery.queryKey, await signIn({ link }));
  } catch {
    linkFailed = true;
  }
}

const router = createAppRouter({ queryClient, linkFailed });

whenSignedOut(() => {
  queryClient.setQueryData(sessionQuery.queryKey, (session) => session && { ...session, signed_in: false });
  void router.invalidate();
});

const root = document.getElementById("root");
if (root === null) throw new Error("index.html has no #root");
createRoot(root).render(
  <StrictMode>
    <QueryClientProvider client={queryClient}>
      <RouterProvider router={router} />
    </QueryClientProvider>
  </StrictMode>,
);
