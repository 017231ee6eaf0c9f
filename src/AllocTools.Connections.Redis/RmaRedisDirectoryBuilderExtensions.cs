using AllocTools.Connections.Directories;
using AllocTools.Connections.Redis;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Options;
using StackExchange.Redis;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Stores a directory on Redis.</summary>
public static class RmaRedisDirectoryBuilderExtensions
{
    /// <summary>Stores the directory on Redis instead of its peers; <c>MapRmaDirectory</c> is not needed then.</summary>
    /// <remarks>
    /// The options are bound to the subsection <c>Redis</c> of the directory's section, such as
    /// <c>AllocTools:Directory:Redis</c>; options in code override it. It requires Redis 6 or later, and a user who is
    /// allowed EVAL, the commands of hashes, SUBSCRIBE and PUBLISH. Entries contain keys to memory: restrict who may
    /// read them, and use TLS.
    /// </remarks>
    /// <param name="builder">The directory.</param>
    /// <param name="configure">Sets options; null for none.</param>
    /// <returns>The same builder.</returns>
    public static IRmaDirectoryBuilder UseRedis(this IRmaDirectoryBuilder builder, Action<RmaRedisDirectoryOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        DirectoryRegistration registration = builder.Services.Select(static d => d.IsKeyedService ? null : d.ImplementationInstance).OfType<DirectoryRegistration>().First();
        if (!builder.Services.Any(static d => d.ServiceType == typeof(IDirectoryStore) && d.ImplementationType == typeof(RedisDirectoryStore)))
        {
            registration.AddOptions(builder.Services, DirectoryRegistration.RedisSectionName + ":", RedisDirectoryOptionKeys.All, [], new RmaRedisDirectoryOptionsValidator());
            builder.Services.AddSingleton<IValidateOptions<RmaRedisDirectoryOptions>>(services => new PlaceRule(services.GetService<IServiceProviderIsService>(), registration));
            builder.Services.Replace(ServiceDescriptor.Singleton<IDirectoryStore, RedisDirectoryStore>());
        }
        if (configure is not null)
            builder.Services.Configure(configure);
        return builder;
    }

    /// <summary>Checks that the options have a connection string, or the application has its own connection.</summary>
    private sealed class PlaceRule(IServiceProviderIsService? services, DirectoryRegistration registration) : IValidateOptions<RmaRedisDirectoryOptions>
    {
        public ValidateOptionsResult Validate(string? name, RmaRedisDirectoryOptions options) =>
            options.Configuration is null && services?.IsService(typeof(IConnectionMultiplexer)) != true
                ? ValidateOptionsResult.Fail($"{registration.Origin}{DirectoryRegistration.RedisSectionName}:Configuration is not set, and the application has no IConnectionMultiplexer; it must be a connection string of StackExchange.Redis, such as redis:6379.")
                : ValidateOptionsResult.Success;
    }
}
