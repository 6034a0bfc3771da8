/** Which address shows which page, and who may see it. */

import type { QueryClient } from "@tanstack/react-query";
import {
  createRootRouteWithContext,
  createRoute,
  createRouter,
  lazyRouteComponent,
  redirect,
  retainSearchParams,
} from "@tanstack/react-router";
import { lazy, Suspense } from "react";
import { sessionQuery } from "./api/session";
import { ChatPage } from "./chat/ChatPage";
import { NewChatPage } from "./chat/NewChatPage";
import { consolePages, Layout } from "./console/routes";
import { Failure, NotFound, Root } from "./Root";
import { SignInPage } from "./SignInPage";
import { Shell } from "./shell/Shell";

const SharedPage = lazy(() => import("./share/SharedPage"));

interface Context {
  queryClient: QueryClient;
  /** A one-time link was opened that did not sign in. */
  linkFailed: boolean;
}

const root = createRootRouteWithContext<Context>()({
  component: Root,
  errorComponent: Failure,
  notFoundComponent: NotFound,
});

const signIn = createRoute({
  getParentRoute: () => root,
  path: "/sign-in",
  // Where to go then: a path of these pages, and never the address of another site.
  validateSearch: ({ to, error }): { to?: string; error?: string } => ({
    ...(typeof to === "string" && /^\/(?!\/)/.test(to) && { to }),
    ...(typeof error === "string" && { error }),
  }),
  beforeLoad: async ({ context }) => {
    const session = await context.queryClient.ensureQueryData(sessionQuery);
    if (session.signed_in) throw redirect({ to: "/" });
  },
  component: function SignIn() {
    const { to, error } = signIn.useSearch();
    const { linkFailed } = signIn.useRouteContext();
    return <SignInPage to={to ?? "/"} linkFailed={linkFailed} issuerFailed={error !== undefined} />;
  },
});

const signedIn = createRoute({
  getParentRoute: () => root,
  id: "signed-in",
  beforeLoad: async ({ context, location }) => {
    const session = await context.queryClient.ensureQueryData(sessionQuery);
    if (!session.signed_in) throw redirect({ to: "/sign-in", search: { to: location.href } });
  },
});

const shell = createRoute({ getParentRoute: () => signedIn, id: "shell", component: Shell });

const shared = createRoute({
  getParentRoute: () => root,
  path: "/s/$share",
  component: function Shared() {
    return (
      <Suspense>
        <SharedPage share={shared.useParams().share} />
      </Suspense>
    );
  },
});

const newChat = createRoute({
  getParentRoute: () => shell,
  path: "/",
  // What the chat is to begin with.
  validateSearch: ({ assistant }): { assistant?: string } =>
    typeof assistant === "string" && assistant !== "" ? { assistant } : {},
  component: NewChatPage,
});

const assistants = createRoute({
  getParentRoute: () => shell,
  path: "/assistants",
  component: lazyRouteComponent(() => import("./presets/PresetsPage"), "PresetsPage"),
});

const chat = createRoute({
  getParentRoute: () => shell,
  path: "/c/$chatId",
  validateSearch: ({ at }): { at?: string } => (typeof at === "string" ? { at } : {}),
  component: function Chat() {
    const { chatId } = chat.useParams();
    const { at } = chat.useSearch();
    return <ChatPage key={chatId} id={chatId} at={at} />;
  },
});

const playground = createRoute({
  getParentRoute: () => shell,
  path: "/playground",
  validateSearch: ({ tab }): { tab?: string } => (typeof tab === "string" ? { tab } : {}),
  component: lazyRouteComponent(() => import("./playground/PlaygroundPage"), "PlaygroundPage"),
});

const consoleLayout = createRoute({
  getParentRoute: () => signedIn,
  path: "/console",
  // Whose deployments, keys and jobs are shown; without it, those of the session's own project.
  validateSearch: ({ project }): { project?: string } =>
    typeof project === "string" && project !== "" ? { project } : {},
  search: { middlewares: [retainSearchParams(["project"])] },
  component: Layout,
});

const routes = root.addChildren([
  signIn,
  shared,
  signedIn.addChildren([
    shell.addChildren([newChat, chat, assistants, playground]),
    consoleLayout.addChildren(consolePages(consoleLayout)),
  ]),
]);

export function createAppRouter(context: Context) {
  return createRouter({
    routeTree: routes,
    context,
    basepath: new URL(document.baseURI).pathname,
    // The list of turns keeps its own place.
    scrollRestoration: false,
  });
}

declare module "@tanstack/react-router" {
  interface Register {
    router: ReturnType<typeof createAppRouter>;
  }
}
