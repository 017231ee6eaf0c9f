using AllocTools.Endpoints;

namespace AllocTools.Libfabric;

/// <summary>
/// A reliable-datagram endpoint of libfabric (FI_EP_RDM) for RMA and messages between rented buffers and peers'
/// memory. It is opened by <see cref="Regions.IRmaContext.OpenEndpoint"/>.
/// </summary>
/// <remarks>All members are safe to call from any thread.</remarks>
public sealed class LibfabricEndpoint : RmaEndpoint
{
    private readonly LibfabricContext _context;
    private readonly LibfabricCompletionLevel _level;

    internal LibfabricEndpoint(LibfabricContext context, LibfabricDriver driver, LibfabricEndpointOptions options)
        : base(context, driver, options, driver.Description)
    {
        _context = context;
        _level = options.CompletionLevel;
    }

    /// <summary>
    /// Returns the meaning of a completed send to a peer. This is the endpoint's level, or
    /// <see cref="LibfabricCompletionLevel.Transmit"/> if neither the transport
    /// (<see cref="Regions.RmaProviderTraits.SendsAreConfirmed"/>) nor the peer can report that the bytes have arrived.
    /// A peer can't if it is not an endpoint of this library, or does not grant remote reads. An empty message counts
    /// as sent.
    /// </summary>
    /// <param name="peer">A peer of this endpoint.</param>
    public LibfabricCompletionLevel GetSendLevel(RmaPeer peer) =>
        _level == LibfabricCompletionLevel.Delivery && _context.Traits.SendsAreConfirmed && !LibfabricDriver.ConfirmsSendsTo(Entry(peer))
            ? LibfabricCompletionLevel.Transmit
            : _level;
}
