using AllocTools.Endpoints;
using AllocTools.Validation;

namespace AllocTools.Libfabric;

/// <summary>Options of a <see cref="LibfabricEndpoint"/>.</summary>
public sealed class LibfabricEndpointOptions : RmaEndpointOptions
{
    /// <summary>What a completed write or send means. Default: <see cref="LibfabricCompletionLevel.Delivery"/>.</summary>
    [OptionChoice(typeof(LibfabricCompletionLevel))]
    public LibfabricCompletionLevel CompletionLevel { get; set; } = LibfabricCompletionLevel.Delivery;

    /// <summary>
    /// How many messages may go to a peer after it last had a receive posted. Further ones wait until it has one again, and
    /// time out: else they pile up in its memory. For transports that have no limit of their own, tcp;ofi_rxm and sockets.
    /// Range: 1 to 1,048,576, or 0 for no limit. Default: 1,024.
    /// </summary>
    [OptionRange(0, 1 << 20, "messages", LeastMeans = "no limit")]
    public int MaxUnreceivedMessages { get; set; } = 1024;
}
