using Microsoft.Extensions.DependencyInjection;

namespace AllocTools.Connections.Directories;

/// <summary>A directory that was added by <c>AddRmaDirectory</c>.</summary>
public interface IRmaDirectoryBuilder
{
    /// <summary>The services to which it was added.</summary>
    IServiceCollection Services { get; }

    /// <summary>
    /// The HTTP client for requests to the peers, to which handlers for authentication, certificates, or
    /// <c>UseRma()</c> can be added. It is not used if the directory is kept elsewhere.
    /// </summary>
    IHttpClientBuilder HttpClient { get; }
}
