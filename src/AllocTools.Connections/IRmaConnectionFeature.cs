namespace AllocTools.Connections;

/// <summary>
/// Gives access to the connection over registered memory that carries a connection or, with Kestrel, a request. It is
/// one of their features: <c>context.Features.Get&lt;IRmaConnectionFeature&gt;()?.Connection</c>. The connection has
/// the peer's certificate, and imports memory that the peer has exposed.
/// </summary>
/// <remarks>
/// It is not one of Kestrel's own TLS features, by which Kestrel distinguishes HTTPS from HTTP: the bytes of a
/// connection are not encrypted, even if its control connection is.
/// </remarks>
public interface IRmaConnectionFeature
{
    /// <summary>The connection. Its owner, such as Kestrel, ends it.</summary>
    RmaConnection Connection { get; }
}
