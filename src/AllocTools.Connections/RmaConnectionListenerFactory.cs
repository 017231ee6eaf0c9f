using System.Net;
using Microsoft.AspNetCore.Connections;

namespace AllocTools.Connections;

/// <summary>Creates listeners for Kestrel and others, on end points of the type <see cref="RmaEndPoint"/>.</summary>
/// <param name="connections">The connections to which the listeners belong.</param>
public sealed class RmaConnectionListenerFactory(RmaConnections connections) : IConnectionListenerFactory, IConnectionListenerFactorySelector
{
    /// <summary>Whether the end point is an <see cref="RmaEndPoint"/> of these connections' pool, or without a pool.</summary>
    /// <param name="endpoint">The end point.</param>
    public bool CanBind(EndPoint endpoint) => endpoint is RmaEndPoint own && IsOfPool(own);

    /// <summary>Listens on an end point.</summary>
    /// <param name="endpoint">An <see cref="RmaEndPoint"/>, or another <see cref="IPEndPoint"/>.</param>
    /// <param name="cancellationToken">Ignored, because this does not wait.</param>
    /// <exception cref="NotSupportedException">It is not an IP end point.</exception>
    /// <exception cref="ArgumentException">It belongs to another pool.</exception>
    /// <exception cref="AddressInUseException">Something else listens there.</exception>
    public ValueTask<IConnectionListener> BindAsync(EndPoint endpoint, CancellationToken cancellationToken = default)
    {
        if (endpoint is not IPEndPoint ip)
            throw new NotSupportedException($"The end point is a {endpoint?.GetType()}; for connections over registered memory it must be an {nameof(RmaEndPoint)}.");
        if (ip is RmaEndPoint own && !IsOfPool(own))
            throw new ArgumentException($"The end point {own} belongs to the pool '{own.PoolName}', but this factory listens over the pool '{connections.Pool.Name}'. Use that pool's factory, or leave the pool's name out.", nameof(endpoint));
        return ValueTask.FromResult<IConnectionListener>(connections.Listen(ip));
    }

    private bool IsOfPool(RmaEndPoint endPoint) => endPoint.PoolName is null || endPoint.PoolName == connections.Pool.Name;
}
