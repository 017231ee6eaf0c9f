using AllocTools.Regions;

namespace AllocTools.Pooling;

/// <summary>The registration that an exposure has of its own, with a key of its own.</summary>
internal sealed class ExposureRegistration(PoolEngine engine, IRmaRegistration registration, long length)
{
    public IRmaRegistration Registration => registration;

    /// <summary>Undoes it. False: the provider refused, a peer may still reach the memory.</summary>
    public bool TryEnd()
    {
        bool ended = engine.Slabs.TryDeregister(registration, length);
        engine.AfterRelease();
        return ended;
    }
}
