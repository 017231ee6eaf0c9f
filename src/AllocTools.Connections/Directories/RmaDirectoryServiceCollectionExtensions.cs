using AllocTools.Connections;
using AllocTools.Connections.Directories;
using AllocTools.Connections.Hosting;
using AllocTools.Hosting;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Options;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Adds a directory of processes, by names, to an application.</summary>
public static class RmaDirectoryServiceCollectionExtensions
{
    /// <summary>Adds <see cref="IRmaDirectory"/>, which its peers keep over HTTP unless another place is chosen.</summary>
    /// <remarks>
    /// The options are bound to the subsection <c>Directory</c> of the section with which the unnamed pool was added,
    /// such as <c>AllocTools:Directory</c>; options in code override it. <see cref="RmaDirectoryOptions.Peers"/> is
    /// resolved by Microsoft.Extensions.ServiceDiscovery, such as from the section <c>Services</c>; the applications
    /// that it resolves to call <c>app.MapRmaDirectory()</c>.
    /// </remarks>
    /// <param name="services">Where to add it, after <c>AddRmaMemoryPool</c>.</param>
    /// <param name="configure">Sets options; null for none.</param>
    /// <returns>A builder that configures the directory.</returns>
    public static IRmaDirectoryBuilder AddRmaDirectory(this IServiceCollection services, Action<RmaDirectoryOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(services);
        if (services.Select(static d => d.IsKeyedService ? null : d.ImplementationInstance).OfType<DirectoryRegistration>().FirstOrDefault() is null)
            Add(services);
        if (configure is not null)
            services.Configure(configure);
        return new Builder(services, services.AddHttpClient(HttpDirectoryStore.ClientName));
    }

    private static void Add(IServiceCollection services)
    {
        PoolRegistration? pool = services.Select(static d => d.IsKeyedService ? null : d.ImplementationInstance).OfType<PoolRegistration>().FirstOrDefault(static p => p.Key.IsDefault);
        var registration = new DirectoryRegistration(pool?.Section);
        services.AddSingleton(registration);
        registration.AddOptions(services, "", DirectoryOptionKeys.All, [DirectoryRegistration.RedisSectionName], new RmaDirectoryOptionsValidator());
        services.AddSingleton<IValidateOptions<RmaDirectoryOptions>>(new PlaceRule(services, registration));
        if (pool is null)
            services.AddSingleton<IValidateOptions<RmaDirectoryOptions>, OrderRule>();
        services.AddServiceDiscovery();
        services.AddHttpClient(HttpDirectoryStore.ClientName)
            // A peer that redirects requests could obtain keys, or make this process send requests to arbitrary targets.
            .UseSocketsHttpHandler(static (handler, _) => (handler.AllowAutoRedirect, handler.UseCookies) = (false, false))
            // Requests have no secrets in their own headers; a log of each one would be too much at every renewal.
            .RemoveAllLoggers();
        services.TryAddSingleton<DirectoryMetrics>();
        services.TryAddSingleton<DirectoryTable>();
        services.TryAddSingleton<IDirectoryStore, HttpDirectoryStore>();
        services.TryAddSingleton<LeasedDirectory>();
        services.TryAddSingleton<IRmaDirectory>(static sp => sp.GetRequiredService<LeasedDirectory>());
        services.AddHostedService<DirectoryService>();
    }

    /// <summary>Checks that the unnamed pool was not added after this directory, which then would not read its section.</summary>
    private sealed class OrderRule(IEnumerable<PoolRegistration> pools) : IValidateOptions<RmaDirectoryOptions>
    {
        public ValidateOptionsResult Validate(string? name, RmaDirectoryOptions options) =>
            pools.FirstOrDefault(static p => p.Key.IsDefault)?.Section is { } section
                ? ValidateOptionsResult.Fail($"The directory was added before the pool, so it would not read {section.Path}:{DirectoryRegistration.SectionName}. Call AddRmaDirectory after AddRmaMemoryPool.")
                : ValidateOptionsResult.Success;
    }

    /// <summary>Checks that a directory over HTTP has peers.</summary>
    private sealed class PlaceRule(IServiceCollection services, DirectoryRegistration registration) : IValidateOptions<RmaDirectoryOptions>
    {
        public ValidateOptionsResult Validate(string? name, RmaDirectoryOptions options) =>
            options.Peers is null && services.Last(static d => d.ServiceType == typeof(IDirectoryStore)).ImplementationType == typeof(HttpDirectoryStore)
                ? ValidateOptionsResult.Fail($"{registration.Origin}Peers is not set; it must be the URL of the peers that keep the directory, such as https://directory. Or keep it elsewhere: AddRmaDirectory().UseRedis().")
                : ValidateOptionsResult.Success;
    }

    private sealed record Builder(IServiceCollection Services, IHttpClientBuilder HttpClient) : IRmaDirectoryBuilder;
}
