using Microsoft.Extensions.DependencyInjection;

namespace AllocTools.Connections.Directories;

/// <summary>A directory that was added by <c>AddRmaDirectory</c>.</summary>
public interface IRmaDirectoryBuilder
{
    /// <summary>Where it was added.</summary>
    IServiceCollection Services { get; }

    /// <summary>The HTTP client that asks the peers: for handlers of authentication, certificates, or <c>UseRma()</c>. Unused where the directory is kept elsewhere.</summary>
    IHttpClientBuilder HttpClient { get; }
}
