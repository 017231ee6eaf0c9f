using System.Net;
using Microsoft.AspNetCore.Connections;

namespace AllocTools.Connections;

/// <summary>Makes listeners for Kestrel and others, for end points of the type <see cref="RmaEndPoint"/>.</summary>
/// <param name="connections">What they belong to.</param>
public sealed class RmaConnectionListenerFactory(RmaConnections connections) : IConnectionListenerFactory, IConnectionListenerFactorySelector
{
    /// <inheritdoc/>
    public bool CanBind(EndPoint endpoint) => endpoint is RmaEndPoint;

    /// <summary>Listens.</summary>
    /// <param name="endpoint">An <see cref="RmaEndPoint"/>, or another <see cref="IPEndPoint"/>.</param>
    /// <param name="cancellationToken">Not looked at: it does not wait.</param>
    /// <exception cref="NotSupportedException">It is no IP end point.</exception>
    /// <exception cref="AddressInUseException">Something else listens there.</exception>
    public ValueTask<IConnectionListener> BindAsync(EndPoint endpoint, CancellationToken cancellationToken = default) => endpoint is IPEndPoint ip
        ? ValueTask.FromResult<IConnectionListener>(connections.Listen(ip))
        : throw new NotSupportedException($"{endpoint?.GetType()} is no end point of connections over registered memory; pass an {nameof(RmaEndPoint)}.");
}
