using System.Reflection;
using System.Reflection.Emit;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using AllocTools.Libfabric.Interop;

namespace AllocTools.Libfabric.Tests.Interop;

/// <summary>What the binding declares, by reflection.</summary>
internal static class NativeBinding
{
    /// <summary>Value types of the binding that are no C structure.</summary>
    private static readonly Dictionary<string, string> Managed = new()
    {
        [nameof(LibfabricExports)] = "holds exported functions; their signatures are checked",
        [nameof(FidLease)] = "a scope of a handle",
    };

    private static readonly Type[] All = [.. typeof(fid).Assembly.GetTypes()
        .Where(type => type.Namespace == typeof(fid).Namespace && !type.IsDefined(typeof(CompilerGeneratedAttribute)) && !type.IsNested)
        .OrderBy(type => type.Name, StringComparer.Ordinal)];

    public static IEnumerable<Type> Structs => All.Where(type => type.IsValueType && !type.IsEnum && !Managed.ContainsKey(type.Name));

    public static IEnumerable<Type> Enums => All.Where(type => type.IsEnum);

    /// <summary>Every constant: its name in C#, and its value.</summary>
    public static IEnumerable<(Type Type, string Name, long Value)> Constants()
    {
        foreach (Type type in Enums)
            foreach (FieldInfo field in type.GetFields(BindingFlags.Public | BindingFlags.Static))
                yield return (type, field.Name, ToInt64(field.GetRawConstantValue()!));

        foreach (Type type in All.Where(type => type.IsAbstract && type.IsSealed))
        {
            foreach (FieldInfo field in type.GetFields(BindingFlags.Public | BindingFlags.Static))
                yield return (type, field.Name, ToInt64(field.GetRawConstantValue()!));
            foreach (PropertyInfo property in type.GetProperties(BindingFlags.Public | BindingFlags.Static))
                yield return (type, property.Name, ToInt64(property.GetValue(null)!));
        }
    }

    public static FieldInfo[] FieldsOf(Type type) => type.GetFields(BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance);

    public static long SizeOf(Type type)
    {
        DynamicMethod method = new("size", typeof(int), [], typeof(NativeBinding).Module, skipVisibility: true);
        ILGenerator il = method.GetILGenerator();
        il.Emit(OpCodes.Sizeof, type.IsPointer || type.IsFunctionPointer ? typeof(nint) : type);
        il.Emit(OpCodes.Ret);
        return (int)method.Invoke(null, null)!;
    }

    /// <summary>The managed offset: Marshal.OffsetOf speaks of the marshalled form and refuses function pointers.</summary>
    public static long OffsetOf(FieldInfo field)
    {
        DynamicMethod method = new("offset", typeof(nint), [typeof(nint)], typeof(NativeBinding).Module, skipVisibility: true);
        ILGenerator il = method.GetILGenerator();
        il.Emit(OpCodes.Ldarg_0);
        il.Emit(OpCodes.Ldflda, field);
        il.Emit(OpCodes.Conv_U);
        il.Emit(OpCodes.Ldarg_0);
        il.Emit(OpCodes.Sub);
        il.Emit(OpCodes.Ret);
        nint memory = Marshal.AllocHGlobal(4096); // ldflda touches it
        try
        {
            return (nint)method.Invoke(null, [memory])!;
        }
        finally
        {
            Marshal.FreeHGlobal(memory);
        }
    }

    /// <summary>The size of a field; of all its elements where C has an array.</summary>
    public static long SizeOf(FieldInfo field)
        => SizeOf(field.FieldType) * (field.DeclaringType!.GetCustomAttribute<InlineArrayAttribute>()?.Length ?? 1);

    private static long ToInt64(object value)
        => value is ulong bits ? unchecked((long)bits) : Convert.ToInt64(value, System.Globalization.CultureInfo.InvariantCulture);
}
