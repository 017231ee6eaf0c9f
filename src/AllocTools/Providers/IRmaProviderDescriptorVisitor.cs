using System.Diagnostics.CodeAnalysis;

namespace AllocTools.Providers;

/// <summary>Does something with a descriptor that takes the type of its options. For what hosts providers.</summary>
[Experimental(ExperimentalId.Providers)]
public interface IRmaProviderDescriptorVisitor
{
    /// <summary>Is called by <see cref="RmaProviderDescriptor.Accept"/>.</summary>
    /// <typeparam name="TOptions">The type of the options.</typeparam>
    /// <param name="descriptor">The descriptor.</param>
    void Visit<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicParameterlessConstructor)] TOptions>(RmaProviderDescriptor<TOptions> descriptor)
        where TOptions : class;
}
