using System.Net;

namespace AllocTools.Connections;

/// <summary>
/// An end point of connections over registered memory: the IP address and TCP port of the control connection. Its type is what has Kestrel
/// bind it with this transport and not with sockets.
/// </summary>
/// <remarks>Its text is that of an <see cref="IPEndPoint"/>, without the pool's name: Kestrel makes its URLs of it.</remarks>
public sealed class RmaEndPoint : IPEndPoint
{
    /// <summary>An end point.</summary>
    /// <param name="address">The address to listen at or to connect to.</param>
    /// <param name="port">0 to 65,535; 0 lets the system pick one, when it is listened at.</param>
    public RmaEndPoint(IPAddress address, int port)
        : base(address, port)
    {
    }

    /// <summary>An end point at the address and port of another one.</summary>
    /// <param name="endPoint">The other one.</param>
    public RmaEndPoint(IPEndPoint endPoint)
        : base((endPoint ?? throw new ArgumentNullException(nameof(endPoint))).Address, endPoint.Port) => PoolName = (endPoint as RmaEndPoint)?.PoolName;

    /// <summary>An end point at the address and port of another one, over a named pool's connections.</summary>
    /// <param name="endPoint">The other one.</param>
    /// <param name="poolName">The pool's name.</param>
    public RmaEndPoint(IPEndPoint endPoint, string poolName)
        : this(endPoint)
    {
        ArgumentException.ThrowIfNullOrEmpty(poolName);
        PoolName = poolName;
    }

    /// <summary>The pool over whose connections Kestrel listens there; null for the unnamed one.</summary>
    public string? PoolName { get; }

    /// <summary>As of an <see cref="IPEndPoint"/>, of this type.</summary>
    /// <param name="socketAddress">The address.</param>
    public override EndPoint Create(SocketAddress socketAddress)
    {
        var endPoint = (IPEndPoint)base.Create(socketAddress);
        return PoolName is null ? new RmaEndPoint(endPoint) : new RmaEndPoint(endPoint, PoolName);
    }

    /// <summary>Equal where address, port and pool are.</summary>
    /// <param name="comparand">Another one.</param>
    public override bool Equals(object? comparand) => base.Equals(comparand) && (comparand as RmaEndPoint)?.PoolName == PoolName;

    /// <inheritdoc/>
    public override int GetHashCode() => PoolName is null ? base.GetHashCode() : HashCode.Combine(base.GetHashCode(), PoolName);
}
