using Microsoft.Extensions.Configuration;

namespace AllocTools.Hosting.Configuration;

/// <summary>What a pool's section said when the options that the pool was made with were bound to it.</summary>
internal sealed class SectionAtStart(PoolRegistration registration)
{
    private SectionValues? _bound;

    /// <summary>What it said then; as it is now where nothing was bound yet.</summary>
    public SectionValues Values
    {
        get
        {
            NoteBound();
            return _bound!;
        }
    }

    /// <summary>Options are bound to the section; the first ones count.</summary>
    public void NoteBound()
    {
        if (Volatile.Read(ref _bound) is null)
            Interlocked.CompareExchange(ref _bound, new SectionValues(registration), null);
    }
}
