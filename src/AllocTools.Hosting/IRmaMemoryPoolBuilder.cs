using System.Diagnostics.CodeAnalysis;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;

namespace AllocTools.Hosting;

/// <summary>
/// Sets more options of a pool and of its provider; <c>AddRmaMemoryPool</c> returns it. Later calls override earlier
/// ones.
/// </summary>
/// <remarks>Like the service collection itself, use it from one thread, while services are added.</remarks>
public interface IRmaMemoryPoolBuilder
{
    /// <summary>
    /// The name under which the pool was added. It is the name of its options and its key as a service; empty for the
    /// unnamed pool.
    /// </summary>
    string Name { get; }

    /// <summary>The services to which the pool was added.</summary>
    IServiceCollection Services { get; }

    /// <summary>Sets options of the pool.</summary>
    /// <param name="configure">Called when the options are first read.</param>
    /// <returns>This builder.</returns>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    IRmaMemoryPoolBuilder Configure(Action<RmaMemoryPoolOptions> configure);

    /// <summary>
    /// Fails the start if the section with which the pool was added is empty or missing. Otherwise a file that was not
    /// deployed, or a misspelt path, would result in a pool with default options on an arbitrary fabric.
    /// </summary>
    /// <returns>This builder.</returns>
    /// <exception cref="InvalidOperationException">The pool was added without a section.</exception>
    IRmaMemoryPoolBuilder RequireSection();

    /// <summary>
    /// Uses the provider that another pool opens, instead of its own: then there is one domain, whose memory the
    /// endpoints of both pools can use. The provider is closed with the last of the pools. The other pool has the
    /// provider's options.
    /// </summary>
    /// <param name="poolName">The other pool, added before or after this one, with the same type of provider; <c>default</c> is the unnamed pool.</param>
    /// <returns>This builder.</returns>
    /// <exception cref="ArgumentException">The name is null or empty.</exception>
    IRmaMemoryPoolBuilder ShareProviderOf(string poolName);

    /// <summary>Sets options of the provider.</summary>
    /// <typeparam name="TOptions">The provider's options, such as <c>LibfabricOptions</c>.</typeparam>
    /// <param name="configure">Called when the options are first read.</param>
    /// <returns>This builder.</returns>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    IRmaMemoryPoolBuilder ConfigureProvider<TOptions>(Action<TOptions> configure)
        where TOptions : class;

    /// <summary>
    /// Binds options of the provider to a section of the configuration, by reflection. If the application is trimmed or
    /// compiled ahead of time, give the provider a descriptor, or use the overload with a delegate and set them there.
    /// </summary>
    /// <typeparam name="TOptions">The provider's options.</typeparam>
    /// <param name="section">The section.</param>
    /// <returns>This builder.</returns>
    /// <exception cref="ArgumentNullException">The section is null.</exception>
    [RequiresUnreferencedCode(RmaMemoryPoolBuilder.BindsByReflection)]
    [RequiresDynamicCode(RmaMemoryPoolBuilder.BindsByReflection)]
    IRmaMemoryPoolBuilder ConfigureProvider<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.All)] TOptions>(IConfigurationSection section)
        where TOptions : class;

    /// <summary>
    /// Binds options of the provider to the subsection <c>Provider</c> of the section that the pool was added with, by
    /// reflection. This is for a provider without a descriptor: options that a descriptor names are bound automatically
    /// and without reflection.
    /// </summary>
    /// <typeparam name="TOptions">The provider's options.</typeparam>
    /// <returns>This builder.</returns>
    /// <exception cref="InvalidOperationException">The pool was added without a section.</exception>
    [RequiresUnreferencedCode(RmaMemoryPoolBuilder.BindsByReflection)]
    [RequiresDynamicCode(RmaMemoryPoolBuilder.BindsByReflection)]
    IRmaMemoryPoolBuilder ConfigureProvider<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.All)] TOptions>()
        where TOptions : class;
}
