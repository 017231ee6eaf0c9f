using AllocTools.Regions;

namespace AllocTools.Pooling;

/// <summary>The registration that an exposure has of its own, with a key of its own.</summary>
internal sealed class ExposureRegistration(SlabFactory slabs, IPoolSignals signals, IRmaRegistration registration, long length)
{
    public IRmaRegistration Registration => registration;

    /// <summary>Undoes it. False: the provider refused, a peer may still reach the memory.</summary>
    public bool TryEnd()
    {
        bool ended = slabs.TryDeregister(registration, length);
        signals.AfterRelease();
        return ended;
    }
}
