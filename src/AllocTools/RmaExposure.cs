using AllocTools.Endpoints;
using AllocTools.Pooling;

namespace AllocTools;

/// <summary>
/// Remote access to a buffer, from <see cref="RmaBuffer.Expose(RmaAccess)"/> until it is disposed. The
/// memory of a buffer that is disposed meanwhile comes back when the exposure ends.
/// </summary>
/// <remarks>
/// With <see cref="RmaIsolation.Shared"/> the key is the slab's and outlives the exposure: end an exposure only when
/// the peer is known to be done. With <see cref="RmaIsolation.PerExposure"/> the key dies with it.
/// </remarks>
public sealed class RmaExposure : IDisposable
{
    private readonly ExposureRegistration? _registration;
    private RmaHold _hold;
    private int _disposed;

    internal RmaExposure(RemoteMemory remote, RmaHold hold, ExposureRegistration? registration)
    {
        Remote = remote;
        _hold = hold;
        _registration = registration;
    }

    /// <summary>The data that the peer needs. Send it in its binary form.</summary>
    public RemoteMemory Remote { get; }

    /// <summary>Ends the exposure. Never throws; a second call does nothing.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        // If the exposure's own registration can't be undone, the peer may still write: the buffer may be returned, but
        // it is never rented again.
        if (_registration is null || _registration.TryEnd())
            _hold.Release();
        else
            _hold.Quarantine();
    }
}
