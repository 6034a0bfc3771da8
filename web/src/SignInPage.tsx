import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useRouter } from "@tanstack/react-router";
import { type FormEvent, useEffect, useState } from "react";
import { url } from "./api/client";
import { sessionQuery, signIn } from "./api/session";
import { strings } from "./strings";
import { Button } from "./ui/Button";
import { Field } from "./ui/Field";
import { Icon } from "./ui/Icon";
import { useTitle } from "./ui/title";

interface Props {
  /** Where to go then. */
  to: string;
  linkFailed: boolean;
  /** Somebody comes back from their organisation, and was not signed in there or is not known here. */
  issuerFailed: boolean;
}

export function SignInPage({ to, linkFailed, issuerFailed }: Props) {
  const router = useRouter();
  const client = useQueryClient();
  const session = useQuery(sessionQuery);
  const [key, setKey] = useState("");
  useTitle(strings.signIn.submit);

  const enter = useMutation({
    mutationFn: signIn,
    onSuccess: (signedIn) => client.setQueryData(sessionQuery.queryKey, signedIn),
  });
  const isSignedIn = session.data?.signed_in === true;
  useEffect(() => {
    // In this tab or in another one.
    if (isSignedIn) void router.navigate({ href: to, replace: true });
  }, [isSignedIn, router, to]);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (key.trim() !== "") enter.mutate({ key: key.trim() });
  };
  const before = (linkFailed && strings.signIn.linkFailed) || (issuerFailed && strings.signIn.issuerFailed);
  const problem = enter.error?.message ?? (before || null);

  return (
    <main className="grid h-full place-items-center overflow-y-auto bg-panel p-4">
      <div className="w-full max-w-sm rounded-2xl border border-line bg-raised p-7 shadow-sm">
        <Icon name="mark" className="-ms-1.5 mb-4 size-10 text-brass" />
        <h1 className="mb-5 font-semibold text-xl">{strings.signIn.title}</h1>
        <form onSubmit={submit} className="flex flex-col gap-4">
          <Field
            label={strings.signIn.key}
            hint={strings.signIn.keyHint}
            type="password"
            autoComplete="current-password"
            spellCheck={false}
            required
            autoFocus
            value={key}
            onChange={(event) => setKey(event.target.value)}
          />
          <p role="alert" className="text-danger text-sm empty:hidden">
            {problem}
          </p>
          <Button look="primary" type="submit" disabled={enter.isPending}>
            {strings.signIn.submit}
          </Button>
        </form>
        {session.data?.oidc && (
          <>
            <p className="my-3 text-center text-soft text-sm">{strings.signIn.or}</p>
            <a
              href={url("v1/x/session/oidc")}
              className="flex min-h-9 items-center justify-center rounded-lg border border-line-strong px-4 py-1.5 font-medium text-sm hover:bg-hover"
            >
              {strings.signIn.organisation}
            </a>
          </>
        )}
      </div>
    </main>
  );
}
