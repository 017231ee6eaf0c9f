using Microsoft.Extensions.Hosting;

namespace AllocTools.AotSmoke;

/// <summary>The generic host with the appsettings.json beside the program, wherever the program is started from.</summary>
internal static class SmokeHost
{
    public static HostApplicationBuilder CreateBuilder() =>
        Host.CreateApplicationBuilder(new HostApplicationBuilderSettings { ContentRootPath = AppContext.BaseDirectory });
}
