namespace AllocTools.Connections;

/// <summary>
/// The connection over registered memory that carries something, among the features of connections and, with Kestrel, of requests:
/// <c>context.Features.Get&lt;IRmaConnectionFeature&gt;()?.Connection</c>. It has the peer's certificate, and imports memory that the peer has exposed.
/// </summary>
/// <remarks>
/// It is none of Kestrel's own TLS features, by which Kestrel tells HTTPS from HTTP: the bytes of a connection are not encrypted, whatever secures its control connection.
/// </remarks>
public interface IRmaConnectionFeature
{
    /// <summary>The connection. It is ended by what it belongs to, such as Kestrel.</summary>
    RmaConnection Connection { get; }
}
