using System.Net;
using Microsoft.AspNetCore.Connections;

namespace AllocTools.Connections;

/// <summary>Connects to listeners.</summary>
/// <param name="connections">The connections to which the new ones belong.</param>
public sealed class RmaConnectionFactory(RmaConnections connections) : IConnectionFactory
{
    /// <inheritdoc cref="RmaConnections.ConnectAsync"/>
    public async ValueTask<ConnectionContext> ConnectAsync(EndPoint endpoint, CancellationToken cancellationToken = default) =>
        await connections.ConnectAsync(endpoint, cancellationToken).ConfigureAwait(false);
}
