using AllocTools.Validation;

namespace AllocTools.HostMemory;

/// <summary>Options of the <see cref="HostProvider"/>.</summary>
public sealed class HostProviderOptions
{
    /// <summary>
    /// Whether registered memory is locked (mlock(2), VirtualLock), so that it is never paged out.
    /// Default: <see cref="PageLocking.BestEffort"/>.
    /// </summary>
    [OptionChoice(typeof(PageLocking))]
    public PageLocking Locking { get; set; } = PageLocking.BestEffort;
}
