using AllocTools.Regions;
using Xunit;

namespace AllocTools.Tests.Model;

/// <summary>The part about the use of a buffer, and its return.</summary>
internal sealed partial class PoolModel
{
    private const int RememberedLeases = 16;

    private long _deferred;
    private long _late;

    public void Return(Lease lease, bool byPool)
    {
        Assert.True(lease.HasItsPattern, "somebody else wrote into a buffer that is out");
        // A buffer that is returned by Dispose comes back later, whatever holds it.
        bool isHeld = lease.IsHeld && byPool;
        bool isDeferred = !isHeld && (lease.Holds.Count > 0 || lease.Exposures.Count > 0);
        _deferred += isDeferred && lease.IsHeld ? 1 : 0;
        _late += !isHeld && Life == LifeState.Closed ? 1 : 0;
        if (!isHeld)
        {
            // Done before End: memory that is given back now no longer counts as rented.
            Out.Remove(lease);
            if (isDeferred)
                Quarantined.Add(lease);
        }
        Exception? error = Record.Exception(() => End(lease, byPool));
        Type? expected = isHeld ? typeof(InvalidOperationException)
            : Life == LifeState.Closed && byPool ? typeof(ObjectDisposedException)
            : null;
        Assert.Equal(expected, error?.GetType());
        Assert.Equal(isHeld, lease.Buffer.IsRented);
        Assert.Equal((_deferred, _late), (Statistics.DeferredReturns, Statistics.LateReturns));
        if (isHeld)
        {
            Assert.True(lease.HasItsPattern, "a return that was refused wrote into the buffer");
            return;
        }
        Past.Add(lease);
        if (Past.Count > RememberedLeases)
            Past.RemoveAt(0);
        if (!isDeferred)
            CheckScrubbed(lease);
    }

    /// <summary>Checks everything that a lease which has ended must refuse.</summary>
    public void UseAfterReturn(Lease lease)
    {
        RmaBuffer buffer = lease.Buffer;
        Assert.False(buffer.IsRented);
        Action[] uses =
        [
            () => End(lease, byPool: true),
            () => End(lease, byPool: false),
            () => _ = buffer.Span.Length,
            () => _ = buffer.Memory.Length,
            () => _ = buffer.Address,
            () => _ = buffer.GetSpan(0, 1).Length,
            () => ((RmaSlice)buffer).Hold(),
            () => buffer.Expose(RmaAccess.RemoteRead),
        ];
        Assert.All(uses, use => Assert.Throws<InvalidOperationException>(use));
    }

    public void Hold(Lease lease, int times)
    {
        for (int i = 0; i < times; i++)
            lease.Holds.Add(new HeldBuffer(lease.Buffer));
    }

    public void Release(Lease lease, HeldBuffer hold)
    {
        lease.Holds.Remove(hold);
        bool comesBack = ComesBack(lease);
        hold.Release();
        if (comesBack)
            CheckScrubbed(lease);
    }

    public void Expose(Lease lease)
    {
        bool isOwn = Shape.Isolation == RmaIsolation.PerExposure;
        bool fits = !isOwn || _oracle.Fits(lease.Buffer.Length, Shape.User);
        int armed = isOwn ? Context.FailNext : 0;
        IReadOnlyDictionary<IRmaRegistration, long> before = Context.Live;
        RmaExposure? exposure = null;
        Exception? error = Record.Exception(() => exposure = lease.Buffer.Expose(RmaAccess.RemoteRead));
        Assert.Equal(!fits ? typeof(RmaPoolExhaustedException) : armed > 0 ? typeof(RmaRegistrationException) : null, error?.GetType());
        IRmaRegistration[] own = [.. Context.Live.Keys.Except(before.Keys)];
        Assert.Equal(isOwn && error is null ? 1 : 0, own.Length);
        MadeAside += own.Length;
        Exposed.AddRange(own);
        if (exposure is not null)
            lease.Exposures.Add(exposure);
    }

    public void EndExposure(Lease lease, RmaExposure exposure)
    {
        lease.Exposures.Remove(exposure);
        bool comesBack = ComesBack(lease);
        exposure.Dispose();
        exposure.Dispose();
        if (comesBack)
            CheckScrubbed(lease);
        IReadOnlyDictionary<IRmaRegistration, long> live = Context.Live;
        Exposed.RemoveAll(e => !live.ContainsKey(e));
    }

    /// <summary>Whether nothing holds an ended lease any more.</summary>
    private bool ComesBack(Lease lease) => lease.Holds.Count == 0 && lease.Exposures.Count == 0 && Quarantined.Remove(lease);

    private void End(Lease lease, bool byPool)
    {
        if (byPool)
            Pool.Return(lease.Buffer);
        else
            lease.Buffer.Dispose();
    }

    /// <summary>Reads memory without an owner: it is mapped if it is registered, and no waiter may receive or release it meanwhile.</summary>
    private unsafe void CheckScrubbed(Lease lease)
    {
        if (Shape.Scrub == Scrub.None || lease.Owner == Shape.User || Waiting.Count > 0 || !Context.Live.ContainsKey(lease.Registration))
            return;
        byte expected = Shape.Scrub == Scrub.Clear ? (byte)0 : (byte)0xDD;
        Assert.False(new ReadOnlySpan<byte>((void*)lease.Address, (int)lease.Capacity).ContainsAnyExcept(expected), "returned memory has its old bytes");
    }
}
