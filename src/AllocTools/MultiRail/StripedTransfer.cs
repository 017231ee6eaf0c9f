using AllocTools.Endpoints;
using AllocTools.Validation;

namespace AllocTools.MultiRail;

/// <summary>One write or read. Its stripes use the rails that are up; those of a failed rail are repeated over the others.</summary>
/// <remarks>
/// A stripe that failed may have been carried out, or may be carried out later. Before the transfer returns, the
/// endpoints on which its stripes failed are closed, so that the transport no longer reads or writes the local memory.
/// Bytes that a write had sent may still be in the network. They are noted as doubtful, and later writes to the same
/// bytes wait for <see cref="RmaMultiRailOptions.LateWriteTime"/>, so that old bytes never overwrite newer ones.
/// </remarks>
internal sealed class StripedTransfer(RmaMultiRail owner, RmaOperationKind kind, RmaRailMemory memory, RmaRailRegion region, RmaRailRange range)
{
    private const long Alignment = 64;

    private readonly RmaRailPeer _peer = region.Peer;
    private readonly Stack<Stripe> _again = [];
    private readonly List<(Stripe Stripe, Task Closed)> _failed = [];
    private readonly List<Task<Outcome>> _running = [];
    private long _next;

    private readonly record struct Stripe(long Offset, long Length);

    private sealed record Outcome(Stripe Stripe, RailLink Link, RailSession Session, Exception? Error, bool IsLinkFailure);

    /// <summary>Runs the transfer.</summary>
    /// <exception cref="RmaTimeoutException">The transfer did not end in time.</exception>
    public async Task RunAsync(TimeSpan limit, CancellationToken cancellationToken)
    {
        using var timer = new CancellationTokenSource(limit, owner.Time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(timer.Token, cancellationToken);
        try
        {
            if (kind == RmaOperationKind.Write)
                await _peer.SettleAsync(region.Id, range.RemoteOffset, range.Length, either.Token).ConfigureAwait(false);
            await MoveAsync(either.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (timer.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
        {
            throw new RmaTimeoutException(
                $"{kind} of {InWords.Size(range.Length)} did not complete within {limit.TotalSeconds:0.###} s over the rails of '{owner.Name}': {DescribeLinks()}.", kind, TimedOut, "ETIMEDOUT");
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            throw new OperationCanceledException(cancellationToken);
        }
    }

    private const int TimedOut = 110;

    private async Task MoveAsync(CancellationToken cancellationToken)
    {
        try
        {
            while (true)
            {
                cancellationToken.ThrowIfCancellationRequested();
                ObjectDisposedException.ThrowIf(_peer.IsRemoved, _peer);
                // Read before the links are looked at, so that no change is missed.
                Task change = _peer.Change;
                StartAll(cancellationToken);
                if (_running.Count == 0 && !HasMore)
                    return;
                if (_running.Count == 0)
                {
                    await change.WaitAsync(cancellationToken).ConfigureAwait(false);
                    continue;
                }
                Task<Outcome> ended = await Task.WhenAny(_running).ConfigureAwait(false);
                _running.Remove(ended);
                TakeUp(await ended.ConfigureAwait(false));
            }
        }
        finally
        {
            // The running stripes end with the token, or as they would have anyway.
            foreach (Outcome outcome in await Task.WhenAll(_running).ConfigureAwait(false))
                NoteFailure(outcome);
            await EndFailedAsync().ConfigureAwait(false);
        }
    }

    /// <summary>Whether stripes are waiting for a rail.</summary>
    private bool HasMore => _again.Count > 0 || _next < range.Length;

    /// <summary>Starts as many stripes as the rails may carry.</summary>
    private void StartAll(CancellationToken cancellationToken)
    {
        bool hasStarted;
        do
        {
            hasStarted = false;
            foreach (RailLink link in _peer.Links)
            {
                if (!HasMore)
                    return;
                if (link.Session is not { } session || region.On(IndexOf(link)) is not { } remote)
                    continue;
                if (session.HasEnded)
                {
                    link.Fail(session, "its endpoint has failed");
                    continue;
                }
                if (link.TryTakePlace())
                {
                    _running.Add(MoveAsync(NextStripe(), link, session, remote, cancellationToken));
                    hasStarted = true;
                }
                // The first rail that is up carries all stripes.
                if (owner.Options.Policy == RmaRailPolicy.Failover)
                    break;
            }
        }
        while (hasStarted);
    }

    private int IndexOf(RailLink link)
    {
        for (int i = 0; i < _peer.Links.Count; i++)
        {
            if (_peer.Links[i] == link)
                return i;
        }
        throw new ArgumentException("The link is another peer's.", nameof(link));
    }

    /// <summary>Returns the next stripe. A remainder shorter than a stripe is added to the last one.</summary>
    private Stripe NextStripe()
    {
        if (_again.TryPop(out Stripe again))
            return again;
        long usual = Math.Max(Alignment, owner.Options.StripeLength / Alignment * Alignment);
        long rest = range.Length - _next;
        var stripe = new Stripe(_next, rest < 2 * usual ? rest : usual);
        _next += stripe.Length;
        return stripe;
    }

    private async Task<Outcome> MoveAsync(Stripe stripe, RailLink link, RailSession session, RemoteMemory remoteMemory, CancellationToken cancellationToken)
    {
        try
        {
            RmaSlice local = memory.Slice(link.Rail, range.LocalOffset + stripe.Offset, stripe.Length);
            RemoteSlice remote = session.Import(region, remoteMemory).Slice(range.RemoteOffset + stripe.Offset, stripe.Length);
            Task moved = kind == RmaOperationKind.Write
                ? session.Endpoint.WriteAsync(local, remote, Timeout.InfiniteTimeSpan, cancellationToken).AsTask()
                : session.Endpoint.ReadAsync(local, remote, Timeout.InfiniteTimeSpan, cancellationToken).AsTask();
            try
            {
                await moved.WaitAsync(owner.Options.StripeTimeout, owner.Time, CancellationToken.None).ConfigureAwait(false);
            }
            catch (TimeoutException e)
            {
                // The operation ends when its endpoint is closed.
                _ = moved.ContinueWith(static t => _ = t.Exception, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted, TaskScheduler.Default);
                return Fail($"a stripe of {InWords.Size(stripe.Length)} did not complete within {InWords.Time(owner.Options.StripeTimeout)} (StripeTimeout).", e);
            }
            owner.CountBytes(link.Rail, stripe.Length);
            return new Outcome(stripe, link, session, null, false);
        }
        catch (OperationCanceledException e)
        {
            // The operation may have been posted, and the transport may carry it out at any time while the endpoint is open.
            return Fail("a transfer was ended while one of its stripes was outstanding", e);
        }
        catch (Exception e) when (e is RmaException or ObjectDisposedException && IsOfTheLink(e))
        {
            return Fail(e.Message, e);
        }
        catch (Exception e)
        {
            // All other errors are the caller's, such as a misuse or a refused key. They end the transfer.
            return new Outcome(stripe, link, session, e, false);
        }
        finally
        {
            link.ReturnPlace();
        }

        Outcome Fail(string reason, Exception e)
        {
            link.Fail(session, reason);
            return new Outcome(stripe, link, session, e, true);
        }

        bool IsOfTheLink(Exception e) => e is RmaException { IsTransient: true } || session.HasEnded;
    }

    private void TakeUp(Outcome outcome)
    {
        if (outcome.Error is null)
            return;
        NoteFailure(outcome);
        if (!outcome.IsLinkFailure)
            System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(outcome.Error);
        owner.CountRepeated(outcome.Link.Rail);
        _again.Push(outcome.Stripe);
    }

    private void NoteFailure(Outcome outcome)
    {
        if (outcome.IsLinkFailure)
            _failed.Add((outcome.Stripe, outcome.Session.CloseAsync()));
    }

    private async Task EndFailedAsync()
    {
        if (_failed.Count == 0)
            return;
        await Task.WhenAll(_failed.Select(static f => f.Closed)).ConfigureAwait(false);
        if (kind != RmaOperationKind.Write)
            return;
        foreach ((Stripe stripe, _) in _failed)
            _peer.NoteDoubtful(region.Id, range.RemoteOffset + stripe.Offset, stripe.Length);
    }

    private string DescribeLinks() => string.Join(", ", _peer.Links.Select(static l => $"rail '{l.Name}' is {(l.Session is null ? "down" : "up")}"));
}
