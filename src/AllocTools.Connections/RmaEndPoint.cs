using System.Net;

namespace AllocTools.Connections;

/// <summary>
/// An end point of connections over registered memory: the IP address and TCP port of the control connection. Its type
/// makes Kestrel bind it with this transport instead of sockets.
/// </summary>
/// <remarks>
/// Its text is that of an <see cref="IPEndPoint"/>, without the pool's name, because Kestrel builds its URLs
/// from it.
/// </remarks>
public sealed class RmaEndPoint : IPEndPoint
{
    /// <summary>Creates an end point.</summary>
    /// <param name="address">The address on which to listen, or to which to connect.</param>
    /// <param name="port">0 to 65,535; for listening, 0 lets the system choose one.</param>
    public RmaEndPoint(IPAddress address, int port)
        : base(address, port)
    {
    }

    /// <summary>Creates an end point with the address and port of another one.</summary>
    /// <param name="endPoint">The other one.</param>
    public RmaEndPoint(IPEndPoint endPoint)
        : base((endPoint ?? throw new ArgumentNullException(nameof(endPoint))).Address, endPoint.Port) => PoolName = (endPoint as RmaEndPoint)?.PoolName;

    /// <summary>Creates an end point with the address and port of another one, for a named pool's connections.</summary>
    /// <param name="endPoint">The other one.</param>
    /// <param name="poolName">The pool's name.</param>
    public RmaEndPoint(IPEndPoint endPoint, string poolName)
        : this(endPoint)
    {
        ArgumentException.ThrowIfNullOrEmpty(poolName);
        PoolName = poolName;
    }

    /// <summary>Gets the name of the pool over whose connections Kestrel listens; null for the unnamed pool.</summary>
    public string? PoolName { get; }

    /// <summary>Creates an end point of this type, like <see cref="IPEndPoint"/>.</summary>
    /// <param name="socketAddress">The address.</param>
    public override EndPoint Create(SocketAddress socketAddress)
    {
        var endPoint = (IPEndPoint)base.Create(socketAddress);
        return PoolName is null ? new RmaEndPoint(endPoint) : new RmaEndPoint(endPoint, PoolName);
    }

    /// <summary>Whether address, port and pool are equal.</summary>
    /// <param name="comparand">The other end point.</param>
    public override bool Equals(object? comparand) => base.Equals(comparand) && (comparand as RmaEndPoint)?.PoolName == PoolName;

    /// <inheritdoc/>
    public override int GetHashCode() => PoolName is null ? base.GetHashCode() : HashCode.Combine(base.GetHashCode(), PoolName);
}
