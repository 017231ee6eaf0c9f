using AllocTools.Endpoints;
using AllocTools.Validation;
using Microsoft.Extensions.Options;

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

    /// <summary>Options of the endpoint.</summary>
    [ValidateObjectMembers(typeof(RmaEndpointOptionsRanges))]
    public RmaEndpointOptions Endpoint { get; private set; } = new();

    /// <summary>Returns a copy that shares nothing with these options.</summary>
    internal HostProviderOptions Copy()
    {
        var copy = (HostProviderOptions)MemberwiseClone();
        copy.Endpoint = Endpoint.Copy();
        return copy;
    }
}
