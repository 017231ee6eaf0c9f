using Microsoft.Extensions.Configuration;

namespace AllocTools.Hosting.Configuration;

/// <summary>The values of a pool's section at the time when the options that the pool was created with were bound to it.</summary>
internal sealed class SectionAtStart(PoolRegistration registration)
{
    private SectionValues? _bound;

    /// <summary>The values at that time; the current ones if no options have been bound yet.</summary>
    public SectionValues Values
    {
        get
        {
            NoteBound();
            return _bound!;
        }
    }

    /// <summary>Records the values when options are bound to the section. Only the first call counts.</summary>
    public void NoteBound()
    {
        if (Volatile.Read(ref _bound) is null)
            Interlocked.CompareExchange(ref _bound, new SectionValues(registration), null);
    }
}
